import time, sys
from tests.engine.planting.cases import KINDS, spec, directions
from tests.engine.planting.build import build
from tests.engine.planting.truth import Bench
for kind in KINDS:
    for seed in (0,1):
        t=time.time(); s=spec(kind,seed); b=build(s); B=Bench(b); t1=time.time()-t
        print(kind, seed, s.family, s.layers, s.layer, s.style, s.b, s.noise, 'clean %.2f'%B.clean.mean(), 'min %.2f'%B.clean.min(), '%.2fs'%t1)
        print('   ', [(round(c['moves'],2), round(c['reads'],2)) for c in B.certificate()])
        for d in directions(b):
            m=B.rho(d.vectors,B.frame); print('      %-24s %.2f %s %s'%(d.name,m.effect,'' if m.rho is None else '%.2f'%m.rho,m.truth))
